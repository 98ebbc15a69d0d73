"""Parts of one page each; what several pages share lies one floor below."""
