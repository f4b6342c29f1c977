"""NVIDIA Parakeet: FastConformer encoders with a TDT or a CTC head.

`models` lists them. `onnx` and `pytorch.engine` are engines on ONNX Runtime and PyTorch; both make
words of pieces by `pieces`. `tensorrt` is one on fast-gpu-asr.
"""
