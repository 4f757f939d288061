"""What a base model of the world learns, in short samples: to see, to compare, to paint and to edit.

BAGEL comes with a trained image encoder, and with understanding and painting learned. These are the data for the same
on the small scale: pictures with labels for the image encoder alone, and the rest in the formats in which BAGEL's data
are read (docs/data.md). No sample is a whole trajectory.
"""
