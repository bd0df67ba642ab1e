"""The local web application that people annotate with: masks, ground truths, and studies."""
