"""PaCoRe behind the interface of one chat model: `pacore serve`."""
