"""`python -m offrl` is `offrl`."""

from offrl.launch import main

if __name__ == "__main__":
    main()
