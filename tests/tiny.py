"""Pretrained weights that are none: tiny random networks, saved as transformers saves them."""

from __future__ import annotations

from pathlib import Path

import torch

NAMES = {"detector": "tiny-detr", "sam": "tiny-sam", "sam2": "tiny-sam2"}
#: Side of the square that each looks at.
SIDE = 64


def save_tiny(folder: Path) -> dict[str, Path]:
    """Save a detector and two segmenters; return their folders by kind."""
    from transformers import (
        RfDetrConfig,
        RfDetrForObjectDetection,
        Sam2Config,
        Sam2Model,
        SamConfig,
        SamModel,
    )
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    networks = {
        "detector": RfDetrForObjectDetection(RfDetrConfig(**_detector())),
        "sam": SamModel(SamConfig(**_sam())),
        "sam2": Sam2Model(Sam2Config(**_sam2())),
    }
    for kind, network in networks.items():
        for weights in network.parameters():
            if weights.ndim > 1:  # as they begin, they answer next to nothing
                torch.nn.init.normal_(weights, std=0.3)
        network.save_pretrained(folder / kind)
    return {kind: folder / kind for kind in networks}


def _detector() -> dict:
    backbone = {
        "model_type": "rf_detr_dinov2", "hidden_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": SIDE, "patch_size": 8, "num_windows": 2,
        "out_features": ["stage1", "stage2"],
    }  # fmt: skip
    return {
        "backbone_config": backbone, "d_model": 32, "decoder_ffn_dim": 32, "decoder_layers": 2,
        "decoder_self_attention_heads": 2, "decoder_cross_attention_heads": 2,
        "decoder_n_points": 2, "num_queries": 12, "group_detr": 2, "num_labels": 3,
    }  # fmt: skip


_PROMPTS = {"hidden_size": 16, "image_size": SIDE, "patch_size": 16}
_DECODER = {"hidden_size": 16, "mlp_dim": 16, "num_attention_heads": 2, "iou_head_hidden_dim": 16}


def _sam() -> dict:
    vision = {
        "hidden_size": 16, "output_channels": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": SIDE, "patch_size": 16, "window_size": 2,
        "global_attn_indexes": [1], "mlp_dim": 16, "num_pos_feats": 8,
    }  # fmt: skip
    return {
        "vision_config": vision,
        "prompt_encoder_config": _PROMPTS,
        "mask_decoder_config": _DECODER,
    }


def _sam2() -> dict:
    backbone = {
        "model_type": "sam2_hiera_det_model", "hidden_size": 4, "image_size": [SIDE, SIDE],
        "embed_dim_per_stage": [4, 8, 16, 32], "num_attention_heads_per_stage": [1, 1, 1, 2],
        "blocks_per_stage": [1, 2, 1, 1], "window_size_per_stage": [4, 4, 4, 4],
        "global_attention_blocks": [2], "window_positional_embedding_background_size": [4, 4],
    }  # fmt: skip
    vision = {
        "backbone_config": backbone, "backbone_channel_list": [32, 16, 8, 4],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]], "fpn_hidden_size": 16,
    }  # fmt: skip
    return {
        "vision_config": vision,
        "prompt_encoder_config": _PROMPTS,
        "mask_decoder_config": _DECODER,
    }
