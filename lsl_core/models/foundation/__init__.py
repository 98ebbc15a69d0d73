"""Models that begin from weights which others trained on millions of images.

A frozen encoder looks at a window once (`embeddings`); what stands behind it is small and is tuned
on the support set: the decoder and heads of a detector, the mask decoder of a promptable segmenter.
The table of what is known is `catalogue`, the weights on disk are `store`. Networks come from
Hugging Face transformers; preparing pixels is ours, since its own needs torchvision.
"""

#: Goes into every cache key; change it when preparing pixels or reading outputs changes.
TRANSFORM_VERSION = "foundation-1"
