"""Reports on Σ for people: as text, as pictures, and as a self-contained page."""

from sb3_masp.similarity_report.contents import SimilarityReport, make_report
from sb3_masp.similarity_report.history import Movement, read_history, write_history
from sb3_masp.similarity_report.page import write_page
from sb3_masp.similarity_report.pictures import draw_report
from sb3_masp.similarity_report.text import describe

__all__ = [
    "Movement",
    "SimilarityReport",
    "describe",
    "draw_report",
    "make_report",
    "read_history",
    "write_history",
    "write_page",
]
