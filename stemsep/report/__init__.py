"""What people look at: tables of text, the picture of a separated song, and report.html, a page of
scores, spectrograms and sound.
"""

from stemsep.report.listen import Excerpt, Listener
from stemsep.report.page import write_page
from stemsep.report.text import number, picture, table

__all__ = ["Excerpt", "Listener", "number", "picture", "table", "write_page"]
