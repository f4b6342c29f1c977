"""``python -m reflector_gpu`` is the program ``reflector-gpu``."""

from reflector_gpu.cli import main

if __name__ == "__main__":
    main()
