"""Every key of a training config, with what it means: copy this file, keep what differs, import the rest.

    from irg_jax.configs import template

    def get_config():
        c = template.get_config()
        c.optim.lr = 1e-3
        return c

Any key can also be given on the command line: ``--config mine.py --config.optim.lr=1e-3``. The values here are those of
a small model on the embedded shapes world. The config is locked: an unknown key is an error that names the nearest.
"""

from ml_collections import ConfigDict

# (mode, weight, mandatory). Weights are relative; every pack holds at least one sample of each mandatory mode. The
# published ones of stage 1 (IRG, arXiv 2509.06945).
_SIX_MODES = (
    ("initial_thinking_understanding_learning", 0.5, False),
    ("initial_thinking_generation_learning", 0.5, True),
    ("initial_full_learning", 1.0, True),
    ("improving_thinking_understanding_learning", 0.5, False),
    ("improving_thinking_generation_learning", 0.5, True),
    ("improving_full_learning", 1.0, True),
)


def six_modes(source: str) -> tuple[tuple[str, str, float, bool], ...]:
    """The six learning modes of one data set, as rows of ``data.mixture``."""
    return tuple((source, *mode) for mode in _SIX_MODES)


def _section(**values: object) -> ConfigDict:
    return ConfigDict(values)


def get_config() -> ConfigDict:
    """A whole stage."""
    c = ConfigDict()
    c.seed = 0  # of weights, times and noise
    c.steps = 1000  # optimizer steps

    # --- data. In all values ``{workdir}`` stands for the folder given with --workdir, ``{package}`` for that of the
    # installed irg_jax, in which weights are shipped.
    c.data = ConfigDict()
    # Data sets by name. Formats: "irgl", trajectories as irg_jax.build_data writes them; "published", IRGL's folders of
    # parquet; "text_to_image", "webdataset", "editing", "llava", as BAGEL reads them (docs/data.md).
    c.data.sources = _section(
        shapes=_section(
            format="irgl",
            dir="{workdir}/data/shapes",
            latents="",  # of irg_jax.encode_latents, read instead of encoding images in the step
            world=_section(seed=0, train=8000, held_out=600, vocab=640),  # built if missing; None for your own data
        )
    )
    c.data.tokenizer = "{workdir}/data/tokenizer"  # Qwen2's file format
    c.data.seed = 0  # of order and condition dropout
    c.data.mixture = six_modes("shapes")  # (source, mode, weight, mandatory)
    # Of format irgl; the conversations of other formats say themselves what is learned.
    c.data.initial_target = "draft"  # image that initial_full_learning learns: "draft", or "good" as published
    c.data.thinking1 = "plan"  # "none": an empty first thinking, for the ablation
    c.data.dropout = _section(text=0.0, vit=0.0, vae=0.3)  # probability that a condition is left out, for guidance
    c.data.batch_size = 4  # rows in a global batch
    c.data.rows_per_pack = 4  # rows that hold the mandatory modes together; published: 1, for rows of 40,000 tokens
    c.data.budgets = _section(und=384, gen=192, vit=64, images=3)  # of one row: tokens, tokens, patches, images
    c.data.max_sample_tokens = 512  # longer samples are left out and named
    c.data.vae_image = _section(max_size=32, min_size=32)  # pixels, long and short edge
    c.data.vit_image = _section(max_size=32, min_size=32)
    c.data.on_error = "stop"  # at a record that cannot be used, or "replace" it by another one: named, 1 % at most
    c.data.resize = "exact"  # to the published pixels, or "simd": within two levels, several times faster (extra simd)
    c.data.workers = 0  # processes that read and build rows, beside the one that trains
    c.data.threads = 1  # that do it where there are no such processes
    c.data.buffer_gb = 1.0  # of rows that are built ahead

    # --- model
    c.model = ConfigDict()
    c.model.decoder = _section(
        hidden=192, layers=4, heads=6, kv_heads=2, head_dim=32, mlp=512, vocab=640, rope_theta=1e4, norm_eps=1e-6
    )
    c.model.vit = _section(hidden=96, layers=3, heads=3, mlp=288, patch=8, patches_per_side=8, norm_eps=1e-6)
    c.model.vae = _section(kind="pixel", downsample=4, scale=3.0, shift=0.6)  # latent = scale·(pixel − shift)
    c.model.latent_patch = 1  # latents per side of a token; keep its channels below ``hidden``
    c.model.max_latent_size = 8  # side of the latent position table
    c.model.time_features = 64

    # --- how the model is executed; nothing here changes a number beyond rounding
    c.execution = _section(
        dtype="float32",  # compute type, or "bfloat16"; weights are float32
        remat="dots",  # what the backward pass keeps: "none" recomputes nothing, "full" everything
        attention="plain",  # or "chunked", in memory linear in the tokens, or "auto", the platform's best
        logits_chunk=1024,  # tokens whose logits are in memory at once
        vae_encode="in_step",  # VAE inside the step's program, or "separate": a program of its own ahead of it
    )
    c.lora = None  # or dict(rank=64, alpha=64.0, weights=REGEX): low-rank updates over the weights of init_from

    # --- training
    c.loss = _section(ce_weight=1.0, mse_weight=0.3, timestep_shift=4.0)  # published: 1, 1, 4
    c.optim = _section(
        lr=4e-3,
        schedule="cosine",  # down to final_lr at the last step, or "constant"
        final_lr=2e-4,
        warmup_steps=50,
        b1=0.9,
        b2=0.95,
        eps=1e-8,
        weight_decay=0.0,
        moments_dtype="float32",  # or "bfloat16" with stochastic rounding: 8 bytes per weight become 4
        ema_dtype="float32",  # likewise, 4 become 2
        clip_norm=1.0,
        ema_decay=0.995,
        accumulate=1,  # microbatches per step
        freeze=(),  # (regex, step): weights frozen from that step on, such as (("^vit", 0),)
        skip_nonfinite=0,  # steps with an infinite or NaN loss that may be left out before the run stops
    )
    c.init_from = ""  # a run, or a folder of irg_jax.convert, whose EMA weights this stage starts from
    c.mesh = _section(data=1, fsdp=-1, context=1, tensor=1)  # devices along each axis; −1 is what is left
    c.checkpoint = _section(
        every=500,  # steps
        minutes=0.0,  # saved after so many minutes too; 0 for never
        keep=2,  # of the latest
        keep_every=0,  # steps: multiples of it are kept too; 0 for none
        best="",  # the one with the lowest value of this is kept too, such as "validation/loss"
    )
    c.log = _section(
        every=10,  # steps, over which metrics are means
        stall_factor=20.0,  # a step that takes this many medians is reported, with the process that stands still
        wandb="",  # project on Weights & Biases; needs the extra wandb
    )
    c.validation = _section(
        every=0,  # steps; with the EMA weights on held-out data; 0 for never
        batches=4,  # always the same, with the same timesteps and noise
        sources=_section(),  # held-out data sets by their name in data.sources; empty for the split "held_out" of these
        prompts=(),  # an image is sampled for each of them
    )

    # --- sampling (IRG, arXiv 2509.06945, section 3.3); a guidance scale of 1 leaves its branch out
    c.sampling = _section(
        system_prompt="",
        image_size=(32, 32),
        prompt_bucket=32,  # prompts are padded to a multiple, so that few lengths are compiled
        max_prompt=32,
        max_thinking=(40, 240),  # tokens, of turn 1 and of turn 2
        temperature=0.0,
        time_points=26,
        timestep_shift=3.0,
        turn1=_section(text_scale=1.0, image_scale=1.0, interval=(0.4, 1.0), renorm="global", renorm_min=0.0),
        turn2=_section(text_scale=1.0, image_scale=1.0, interval=(0.0, 1.0), renorm="text_channel", renorm_min=0.0),
    )
    return c.lock()
