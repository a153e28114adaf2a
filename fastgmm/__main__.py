"""``fastgmm``, and ``python -m fastgmm`` where the script folder is not on the path."""

import sys


def main() -> None:
    """Run the command; whenever Ctrl-C or SIGTERM come, the answer is one line."""
    try:
        # within: a second goes by until all is imported, and signals come then as well
        import signal

        signal.signal(signal.SIGTERM, _terminate)
        from fastgmm.cli import main as command

        command(prog_name="fastgmm")
    except KeyboardInterrupt as stopped:
        # somebody else's may say anything, or nothing
        code, reason = stopped.args if len(stopped.args) == 2 else (130, "interrupted")
        print(f"fastgmm: {reason}", file=sys.stderr)
        sys.exit(code)


def _terminate(number: int, frame: object) -> None:
    raise KeyboardInterrupt(143, "terminated")


if __name__ == "__main__":  # worker processes import this module again under another name
    main()
