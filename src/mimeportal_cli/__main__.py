"""`python -m mimeportal_cli`: the same as `mimeportal`."""

from mimeportal_cli.main import run

if __name__ == "__main__":
    run()
