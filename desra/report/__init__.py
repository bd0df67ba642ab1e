"""The page of pictures that detection, evaluation and finetuning leave.

Each image's files lie under ``output_dir/page/`` and are written where the image is worked on:
`write_views` what depends on the images alone, `write_regions` what depends on the masks. Jobs that
differ in thresholds only share the first through `link_views`. `write_page` then writes the page,
once. It opens from a disk by double click: no network, no server.
"""

from desra.report.entries import link_views, write_entry, write_regions, write_views
from desra.report.outlines import number_regions
from desra.report.page import Column, Scale, write_page

__all__ = [
    "Column",
    "Scale",
    "link_views",
    "number_regions",
    "write_entry",
    "write_page",
    "write_regions",
    "write_views",
]
