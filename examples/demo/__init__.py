"""A shop whose errors go to Sentry and, mirrored, to Segment, both played by the inspector.

`scripts/demo` installs what is needed and runs it. By hand, with the extra `demo` installed:

    PYTHONPATH=examples python -m demo

One idea a file: `shop` is the application, the only part to copy from for one's own; `visits`
says who does what and what must come of it; `check` holds what arrived against that; `screen`
prints.
"""
