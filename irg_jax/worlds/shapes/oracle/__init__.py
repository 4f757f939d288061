"""An endpoint whose every answer is known to be right: teacher and judge of the shapes world behind OpenAI's protocol.

``python -m irg_jax.worlds.shapes.oracle --port 8009`` starts it; ``Server(Oracle(records))`` does so in a test.
"""
