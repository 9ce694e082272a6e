"""The WebUI side: hosts, jobs, HTTP API, tab, options. Nothing here is imported before a host or `dragtext ui` asks."""
