"""Pure functions of tensors: equations that several algorithms share."""
