"""The library behind the plugins, modules and scripts of Slipway."""
