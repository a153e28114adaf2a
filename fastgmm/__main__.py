"""``python -m fastgmm``: the command, also where the script folder is not on the path."""

from fastgmm.cli import main

if __name__ == "__main__":  # worker processes import this module again under another name
    main(prog_name="fastgmm")
