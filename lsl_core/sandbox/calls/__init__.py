"""What every call goes through: who calls, what they may see, lists, work in the background."""
