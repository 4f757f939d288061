"""Stage 1 on the shapes world: all six learning modes with the published weights (irg.md §5)."""

from ml_collections import ConfigDict

# (mode, weight, mandatory): every pack holds at least one sample of each mandatory mode.
SIX_MODES = (
    ("initial_thinking_understanding_learning", 0.5, False),
    ("initial_thinking_generation_learning", 0.5, True),
    ("initial_full_learning", 1.0, True),
    ("improving_thinking_understanding_learning", 0.5, False),
    ("improving_thinking_generation_learning", 0.5, True),
    ("improving_full_learning", 1.0, True),
)


def get_config() -> ConfigDict:
    """A model of 2.6 million weights that learns the world in minutes on two cores."""
    c = ConfigDict()
    c.seed = 0
    c.steps = 1500

    c.data = ConfigDict()
    c.data.dir = "{workdir}/data/shapes"
    c.data.tokenizer = "{workdir}/data/tokenizer"
    c.data.world = ConfigDict(dict(seed=0, train=6000, held_out=600, vocab=512))
    c.data.seed = 0
    c.data.mixture = SIX_MODES
    c.data.initial_target = "draft"  # the first turn learns to paint the weak picture, so the second has work to do
    c.data.thinking1 = "plan"  # "none": a first thought that says nothing, for the ablation
    c.data.dropout = ConfigDict(dict(text=0.0, vit=0.0, vae=0.3))
    c.data.batch_size = 8  # rows
    c.data.budgets = ConfigDict(dict(und=256, gen=128, vit=48, images=2))  # of one row
    c.data.max_sample_tokens = 384
    c.data.vae_image = ConfigDict(dict(max_size=32, min_size=32))
    c.data.vit_image = ConfigDict(dict(max_size=32, min_size=32))
    c.data.threads = 1

    c.model = ConfigDict()
    c.model.decoder = ConfigDict(
        dict(hidden=128, layers=4, heads=4, kv_heads=2, head_dim=32, mlp=384, vocab=512, rope_theta=1e4, norm_eps=1e-6)
    )
    c.model.vit = ConfigDict(
        dict(hidden=64, layers=2, heads=2, mlp=192, patch=8, patches_per_side=8, norm_eps=1e-6)
    )
    c.model.autoencoder = ConfigDict(dict(downsample=4, scale=2.0, shift=0.6))
    c.model.latent_patch = 1
    c.model.max_latent_size = 8
    c.model.time_features = 64
    c.model.dtype = "float32"
    c.model.remat = "dots"

    c.loss = ConfigDict(dict(ce_weight=1.0, mse_weight=1.0, timestep_shift=4.0))
    c.optim = ConfigDict(
        dict(
            lr=2e-3,
            schedule="cosine",
            final_lr=2e-4,
            warmup_steps=50,
            b1=0.9,
            b2=0.95,
            eps=1e-8,
            weight_decay=0.0,
            clip_norm=1.0,
            ema=0.99,
            accumulate=1,
            freeze=(),  # (regex, step): weights frozen from that step on
        )
    )
    c.sampling = ConfigDict(
        dict(
            system_prompt="",
            image_size=(32, 32),
            prompt_bucket=32,
            max_prompt=32,
            max_thinking=(56, 144),  # of turn 1 and turn 2
            temperature=0.0,
            time_points=26,
            timestep_shift=3.0,
            turn1=ConfigDict(
                dict(text_scale=1.0, image_scale=1.0, interval=(0.4, 1.0), renorm="global", renorm_min=0.0)
            ),
            turn2=ConfigDict(
                dict(text_scale=1.0, image_scale=1.0, interval=(0.0, 1.0), renorm="text_channel", renorm_min=0.0)
            ),
        )
    )
    c.init = ConfigDict(dict(ema=""))  # a run whose EMA weights this one starts from
    c.mesh = ConfigDict(dict(data=1, fsdp=-1, tensor=1))
    c.checkpoint = ConfigDict(dict(every=500, keep=2))
    c.log = ConfigDict(dict(every=10))
    return c
