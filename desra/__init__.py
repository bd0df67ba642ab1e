"""DeSRA: detect and delete the artifacts of GAN super-resolution (Xie et al., ICML 2023)."""
