"""Networks: layers with explicit gradients, optimizers, kernels, and networks that users bring."""
