"""Rematerialization policies: what the forward pass saves of each layer, and what the backward pass recomputes."""

import jax

from irg_jax.models.attention.spans import SAVED

LAYER_INPUT = "layer_input"

_policies = jax.checkpoint_policies
POLICIES = {
    # Everything is saved, nothing is recomputed.
    "none": _policies.everything_saveable,
    # Only the layer's input is saved.
    "full": _policies.nothing_saveable,
    # The layer's input and the attention output are saved.
    "attention": _policies.save_only_these_names(SAVED),
    # The same two are saved, in host memory.
    "offload": _policies.save_and_offload_only_these_names(
        names_which_can_be_saved=[],
        names_which_can_be_offloaded=[LAYER_INPUT, SAVED],
        offload_src="device",
        offload_dst="pinned_host",
    ),
    # The layer's input and the outputs of attention and of the matmuls with weights are saved.
    "dots": _policies.save_from_both_policies(
        _policies.dots_with_no_batch_dims_saveable, _policies.save_only_these_names(SAVED)
    ),
}
