"""`python -m dragtext.sdk.command`: the SDK's command without what the extension adds."""

from .app import main

main()
