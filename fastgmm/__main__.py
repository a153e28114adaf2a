"""``fastgmm``, and ``python -m fastgmm`` where the script folder is not on the path."""

import sys


def main() -> None:
    """Run the command; whenever Ctrl-C comes, the answer is one line."""
    try:
        # within: a second goes by until all is imported, and Ctrl-C comes then as well
        from fastgmm.cli import main as command

        command(prog_name="fastgmm")
    except KeyboardInterrupt:
        print("fastgmm: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":  # worker processes import this module again under another name
    main()
