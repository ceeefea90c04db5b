"""Stores: folders of files, written once and read often, whose manifest describes them."""

from semiseg_lib.stores.store import Stale, Store

__all__ = ["Stale", "Store"]
