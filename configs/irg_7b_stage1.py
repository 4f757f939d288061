"""IRG, stage 1, from BAGEL-7B-MoT: the six learning modes for 2,000 steps (arXiv 2509.06945).

    python -m irg_jax.convert --from bagel:BAGEL-7B-MoT --to orbax:checkpoints/bagel
    python -m irg_jax.build_data irgl --from parquet:IRGL-300K --out data/IRGL-300K
    python -m irg_jax.train --config irg_7b_stage1 --workdir runs/irg_stage1

"released" marks what the released training script says, "BAGEL" what the checkpoint's own config files say.
"""

from irg_jax.configs import template
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Every published hyperparameter, with its source."""
    c = template.get_config()
    c.steps = 2000  # paper

    # --- data
    c.data.sources = ConfigDict(dict(irgl=dict(format="irgl", dir="data/IRGL-300K", world=None)))
    c.data.mixture = template.six_modes("irgl")
    c.data.initial_target = "good"  # paper
    c.data.tokenizer = "checkpoints/bagel/tokenizer"  # BAGEL: Qwen2's
    c.data.dropout.update(text=0.0, vit=0.0, vae=0.3)  # released
    c.data.batch_size = 8  # released: 8 GPUs, one pack each
    # Released: every pack of 40,000 tokens holds the mandatory modes. At 1024 x 1024 that contradicts the weights (a
    # pack has 4.6 samples, of which four are mandatory), so here the packs of the eight GPUs hold them together.
    c.data.rows_per_pack = 8
    # A pack is 40,000 tokens (released). How many of them are words and how many latents is ours, for pictures of 512
    # to 1024 pixels; `irg_jax.build_data stats DIR --tokenizer DIR --budgets 40000` proposes them for a data set.
    c.data.budgets.update(und=24064, gen=15872, vit=22528, images=12)
    c.data.max_sample_tokens = 32768  # released
    c.data.vae_image.update(max_size=1024, min_size=512)  # BAGEL
    c.data.vit_image.update(max_size=980, min_size=378)  # BAGEL
    c.data.workers = 4
    c.data.buffer_gb = 2.0

    # --- model: BAGEL
    c.model.decoder.update(
        hidden=3584, layers=28, heads=28, kv_heads=4, head_dim=128, mlp=18944, vocab=152064, rope_theta=1e6,
        norm_eps=1e-6,
    )  # fmt: skip
    c.model.vit.update(hidden=1152, layers=26, heads=16, mlp=4304, patch=14, patches_per_side=70, norm_eps=1e-6)
    c.model.vae = ConfigDict(
        dict(kind="flux", width=128, multipliers=(1, 2, 4, 4), blocks=2, channels=16, scale=0.3611, shift=0.1159)
    )
    c.model.latent_patch = 2
    c.model.max_latent_size = 64
    c.model.time_features = 256
    c.execution.dtype = "bfloat16"  # released
    # Ours, for memory and speed; they change no number beyond rounding.
    c.execution.update(remat="full", attention="auto", logits_chunk=2048)

    # --- training: released
    c.loss.update(ce_weight=1.0, mse_weight=1.0, timestep_shift=4.0)
    c.optim.update(
        lr=2e-5, schedule="constant", final_lr=2e-5, warmup_steps=500, b1=0.9, b2=0.95, eps=1e-15, weight_decay=0.0,
        clip_norm=1.0, ema_decay=0.995,
    )  # fmt: skip
    c.init_from = "checkpoints/bagel"  # BAGEL's EMA weights
    c.checkpoint.update(every=500, keep=2)

    # --- sampling: paper, section 3.3
    c.sampling.update(
        image_size=(1024, 1024), prompt_bucket=64, max_prompt=512, max_thinking=(1024, 1024), temperature=0.3,
        time_points=50, timestep_shift=3.0,
    )  # fmt: skip
    c.sampling.turn1.update(text_scale=4.0, interval=(0.4, 1.0), renorm="global")
    c.sampling.turn2.update(text_scale=2.0, image_scale=2.0, interval=(0.0, 1.0), renorm="text_channel")
    return c
