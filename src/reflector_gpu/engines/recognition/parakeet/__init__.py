"""NVIDIA Parakeet: FastConformer encoders with a TDT or a CTC head, on ONNX Runtime or PyTorch.

`models` lists them. `onnx` and `pytorch.engine` are the two engines; both make words of pieces by
`pieces`.
"""
