"""One update of each algorithm, written a second time from the papers with plain autograd and `torch.optim.Adam`.

Nothing here is shared with the library but the shape of a batch and the initial weights, which are copied. The tests
run both on the same batches with the same noise, in double precision, and compare every parameter.
"""
