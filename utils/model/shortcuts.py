"""What of a ``Graph`` can be computed with less work, to the same numbers."""

from utils.model.graph import Graph, Layer


def dot_products(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Find the sums of an elementwise product of a user's and a movie's tensor: the sum to its two factors.

    After the two factors come the tensors in between (the product, and its dropout), which nothing else
    may read.
    """
    readers: dict[str, list[Layer]] = {}
    for layer in graph.layers:
        for bottom in layer.bottoms:
            readers.setdefault(bottom, []).append(layer)
    behind, found = graph.slots_behind(), {}
    for layer in graph.layers:
        if layer.kind != "ElementwiseMultiply" or len(layer.bottoms) != 2:
            continue
        if sum(behind[bottom] == {"userId"} for bottom in layer.bottoms) != 1:
            continue
        if any("userId" in behind[bottom] and behind[bottom] != {"userId"} for bottom in layer.bottoms):
            continue
        inner = [layer.tops[0]]
        while len(readers.get(inner[-1], [])) == 1 and readers[inner[-1]][0].kind == "Dropout":
            inner.append(readers[inner[-1]][0].tops[0])
        last = readers.get(inner[-1], [])
        if len(last) == 1 and last[0].kind == "ReduceSum":
            found[last[0].tops[0]] = (*layer.bottoms, *inner)
    return found


def joined(graph: Graph) -> dict[str, list[tuple[str, int, int]]]:
    """Find the Concats of several columns that only linear layers read: their top to their parts.

    A part is (tensor, start, stop), a range of its width; neighbouring slices of one tensor are one part.
    """
    cuts = {
        top: (layer.bottoms[0], *span)
        for layer in graph.layers
        if layer.kind == "Slice"
        for top, span in zip(layer.tops, layer.arguments["ranges"], strict=True)
    }
    others = {bottom for layer in graph.layers if layer.kind != "InnerProduct" for bottom in layer.bottoms}
    behind, found = graph.slots_behind(), {}
    for layer in graph.layers:
        if layer.kind != "Concat" or layer.tops[0] in others or len(behind[layer.tops[0]]) == 1:
            continue
        parts: list[tuple[str, int, int]] = []
        for bottom in layer.bottoms:
            name, start, stop = cuts.get(bottom, (bottom, 0, graph.widths[bottom]))
            if parts and parts[-1][0] == name and parts[-1][2] == start:
                start = parts.pop()[1]
            parts.append((name, start, stop))
        found[layer.tops[0]] = parts
    return found
