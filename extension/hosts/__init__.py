"""One adapter per host behind one interface (`base.Host`). Only these modules import a host's own."""
