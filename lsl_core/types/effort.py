"""Seconds of a person who corrects what a model drew.

- every shown object is looked at (1.6 s: yes or no to a box, Papadopoulos et al., CVPR 2016,
  arXiv 1602.08405);
- a false one is also selected and deleted (1.6 s: point 1.1, click 0.2, key 0.28; the
  keystroke-level model of Card, Moran and Newell, CACM 1980);
- a missed one is drawn: a box by its four extreme points (7 s, Papadopoulos et al., ICCV 2017,
  arXiv 1708.02750), a mask with a click tool (26 s: 79 s for COCO's polygons, Lin et al., ECCV
  2014, divided by the 3 of Benenson et al., CVPR 2019, arXiv 1903.10830);
- one that is right only roughly, at IoU 0.5 but not at 0.75, is mended at half the price of
  drawing it: our assumption, nobody measured it.
"""

LOOK_S = 1.6
DELETE_S = 1.6
DRAW_BOX_S = 7.0
DRAW_MASK_S = 26.0
MEND = 0.5
