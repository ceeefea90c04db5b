"""What is made once and read often: folders of files whose manifest says what they hold."""

from semiseg_lib.stores.store import Stale, Store

__all__ = ["Stale", "Store"]
