"""The same work in other frameworks, for comparison only; none of them is needed."""
