"""What becomes of a request, and why: asked of the parser, router, policies, balancer and composer that serve it.

Nothing is sent, counted, cached or logged for it.
"""

from portico.snapshot.explain.explaining import explain, explain_received, lines_in, located
from portico.snapshot.explain.explanation import Explanation
from portico.snapshot.explain.question import Question

__all__ = ("Explanation", "Question", "explain", "explain_received", "lines_in", "located")
