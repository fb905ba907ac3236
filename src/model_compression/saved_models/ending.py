"""What a net ends with is left out for the training, and comes back in its files."""

from dataclasses import replace

from .graphs import Net, changed, without

#: Functions that keep the order of scores, and make probabilities of them.
ENDINGS = ("softmax", "sigmoid")


def without_ending(net: Net) -> tuple[Net, str]:
    """The net with unbounded scores, and the function of `ENDINGS` that it ended with, or "linear"."""
    last = net.node(net.output)
    function = "softmax" if last.kind == "Softmax" else last.activation
    if function not in ENDINGS or last.layer:
        return net, "linear"
    if last.kind in ("Softmax", "Activation"):
        return without(net, last), function
    return changed(net, replace(last, config={**last.config, "activation": "linear"})), function
