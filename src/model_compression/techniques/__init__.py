"""How a net is made smaller while it trains, each technique a module of its own."""
