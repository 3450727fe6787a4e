"""Networks that somebody else wrote: torchvision's classifiers and the user's own, with their activations exchanged."""
