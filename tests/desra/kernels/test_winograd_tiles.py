import numpy as np

from desra.kernels.winograd_tiles import transform_weights


def test_transformed_weights_of_a_constant():
    # A convolution of ones with ones is 9 everywhere: the products' sum over any output.
    products = transform_weights(np.ones((2, 3, 3, 3), np.float32))
    assert products.shape == (36, 3, 2)
    assert np.ptp(products.reshape(36, -1), axis=1).max() == 0
