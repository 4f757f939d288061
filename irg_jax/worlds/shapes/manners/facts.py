"""What most people know, and a prompt may leave for the model to know: numbers, colours, shapes and sides.

Categories are those of WISE (arXiv 2503.07265). No clue names its answer.
"""

from typing import NamedTuple

CATEGORIES = ("CULTURE", "TIME", "SPACE", "BIOLOGY", "PHYSICS", "CHEMISTRY")


class Fact(NamedTuple):
    """One fact.

    Attributes:
      category: one of ``CATEGORIES``.
      answer: what has to be known.
      clue: what is said instead; of no other fact.
    """

    category: str
    answer: int | str
    clue: str


# Behind "as many circles as".
NUMBER_FACTS = (
    Fact("CULTURE", 3, "there are musketeers in the title of Dumas's novel"),
    Fact("CULTURE", 4, "a violin has strings"),
    Fact("CULTURE", 3, "the flag of France has colours"),
    Fact("CULTURE", 2, "there are players in a game of chess"),
    Fact("CULTURE", 5, "there are rings on the Olympic flag"),
    Fact("CULTURE", 6, "an ordinary guitar has strings"),
    Fact("CULTURE", 2, "a bicycle has wheels"),
    Fact("TIME", 4, "a year has seasons"),
    Fact("TIME", 3, "a quarter of a year has months"),
    Fact("TIME", 2, "a weekend has days"),
    Fact("TIME", 1, "a leap year has extra days"),
    Fact("TIME", 4, "an ordinary February has weeks"),
    Fact("TIME", 5, "there are working days in an office week"),
    Fact("SPACE", 1, "the Earth has moons"),
    Fact("SPACE", 2, "the planet Mars has moons"),
    Fact("SPACE", 3, "there are planets nearer to the Sun than Mars"),
    Fact("SPACE", 4, "there are rocky planets around the Sun"),
    Fact("BIOLOGY", 4, "a cat has paws"),
    Fact("BIOLOGY", 2, "a bird has wings"),
    Fact("BIOLOGY", 3, "an ordinary clover has leaflets"),
    Fact("BIOLOGY", 4, "the human heart has chambers"),
    Fact("BIOLOGY", 1, "a human face has noses"),
    Fact("BIOLOGY", 5, "a human foot has toes"),
    Fact("BIOLOGY", 6, "an ant has legs"),
    Fact("PHYSICS", 2, "a magnet has poles"),
    Fact("PHYSICS", 3, "Newton found laws of motion"),
    Fact("PHYSICS", 3, "the space around us has dimensions"),
    Fact("PHYSICS", 4, "there are right angles around a point"),
    Fact("PHYSICS", 6, "a cube has faces"),
    Fact("CHEMISTRY", 1, "the nucleus of hydrogen has protons"),
    Fact("CHEMISTRY", 2, "there are oxygen atoms in carbon dioxide"),
    Fact("CHEMISTRY", 3, "a molecule of water has atoms"),
    Fact("CHEMISTRY", 4, "there are hydrogen atoms in methane"),
    Fact("CHEMISTRY", 6, "there are carbon atoms in benzene"),
)
# Behind "of the colour of".
COLOUR_FACTS = (
    Fact("CULTURE", "red", "a stop sign"),
    Fact("CULTURE", "yellow", "a New York taxi"),
    Fact("CULTURE", "orange", "the royal house of the Netherlands"),
    Fact("CULTURE", "green", "Saint Patrick's Day"),
    Fact("CULTURE", "purple", "the robes of Roman emperors"),
    Fact("TIME", "blue", "a clear sky at noon"),
    Fact("TIME", "orange", "the pumpkins of late October"),
    Fact("TIME", "green", "young leaves in May"),
    Fact("SPACE", "red", "the dusty planet Mars"),
    Fact("SPACE", "blue", "the oceans as seen from orbit"),
    Fact("BIOLOGY", "green", "chlorophyll"),
    Fact("BIOLOGY", "red", "fresh blood"),
    Fact("BIOLOGY", "yellow", "a ripe banana"),
    Fact("BIOLOGY", "orange", "a carrot"),
    Fact("BIOLOGY", "purple", "an aubergine"),
    Fact("PHYSICS", "red", "the outermost band of a rainbow"),
    Fact("PHYSICS", "green", "yellow paint mixed with blue paint"),
    Fact("PHYSICS", "orange", "yellow paint mixed with red paint"),
    Fact("CHEMISTRY", "yellow", "sulphur"),
    Fact("CHEMISTRY", "red", "litmus in acid"),
    Fact("CHEMISTRY", "blue", "copper sulphate"),
    Fact("CHEMISTRY", "purple", "dissolved permanganate"),
)
# Behind "in the shape of".
SHAPE_FACTS = (
    Fact("CULTURE", "circle", "the table of King Arthur's knights"),
    Fact("CULTURE", "square", "a chess board"),
    Fact("CULTURE", "triangle", "a side of an Egyptian pyramid"),
    Fact("CULTURE", "cross", "the sign on the Swiss flag"),
    Fact("CULTURE", "diamond", "the playing cards' suit besides hearts, spades and clubs"),
    Fact("TIME", "circle", "the path of a clock hand's tip"),
    Fact("SPACE", "circle", "a full moon"),
    Fact("BIOLOGY", "circle", "the pupil of a human eye"),
    Fact("PHYSICS", "triangle", "the end of a glass prism that splits light"),
    Fact("PHYSICS", "cross", "the mark at a battery's positive end"),
    Fact("CHEMISTRY", "square", "a face of a salt crystal"),
    Fact("CHEMISTRY", "diamond", "the gem that is pure carbon"),
)
# Behind "on the side".
SIDE_FACTS = (
    Fact("TIME", "east", "where the sun rises"),
    Fact("TIME", "west", "where the sun sets"),
    Fact("SPACE", "north", "of a map where the Arctic is"),
    Fact("SPACE", "south", "of a map where penguins live"),
    Fact("PHYSICS", "south", "to which a dropped stone falls"),
    Fact("PHYSICS", "north", "to which smoke rises"),
)
FACTS = (*NUMBER_FACTS, *COLOUR_FACTS, *SHAPE_FACTS, *SIDE_FACTS)
