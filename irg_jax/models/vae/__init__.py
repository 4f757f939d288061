"""VAEs: from pixels to latents and back. They are frozen in all training.

A VAE is a pytree with three methods; f is its ``config.downsample``:

* ``encode(pixels, sizes=None, noise=None)``: [N, H, W, 3] in [−1, 1] to scaled latents [N, H/f, W/f, channels].
  ``sizes``, int [N, 2], are the (height, width) of images that are padded at the bottom and right. With ``noise``,
  which has the shape of the latents, the result is a sample of the posterior; without it the posterior's mean.
* ``moments(pixels, sizes=None)``: what ``encode`` makes latents of, [N, H/f, W/f, 2·channels]; see ``vae.moments``,
  which makes the same latents of them without the VAE's weights.
* ``decode(latents)``: scaled latents back to pixels.
"""
