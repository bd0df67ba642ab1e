"""Tasks over folders of images that train nothing: detecting, upscaling, scoring, calibrating."""
