"""Image chains with skip connections: each convolution chooses which earlier layers it takes.

Zoph & Le 2016, section 3.3: before a convolution's own decisions stand switches, one for each
earlier convolution and pooling, from the first to the last. What is switched on is put side by
side; what nothing took comes together before the head. Images of different sizes are brought to
the largest with zeros around them. A pooling takes the layer before it.

Beside the rules of `rlnas.spaces.image`, others keep out what is hardly ever worth a training:

- a convolution takes at least one earlier layer;
- the layer before it may be left aside only once the image was halved twice;
- a layer whose image is more than twice as high or wide as that of the layer before is not taken.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from rlnas.cost import Dropout, Flatten, GlobalPool, Join, Layer, join_cost, layer_costs
from rlnas.errors import SpaceError
from rlnas.spaces.base import Decision, Mask
from rlnas.spaces.canonical import canonical_layers, is_idle, smallest_pooling
from rlnas.spaces.chain import STOP, Node, State, plain
from rlnas.spaces.fitting import DECIDED, Ground
from rlnas.spaces.image import ImageSpace
from rlnas.spaces.rules import CONVOLUTIONS, IMAGE_ENDS, POOLINGS

_OFF, _ON = "off", "on"
_LARGER = 2
"""Times as high or wide as the layer before that a layer which is taken may be (chosen)."""


class SkipSpace(ImageSpace):
    """Image chains whose convolutions choose their inputs; arguments are those of `ImageSpace`.

    The decisions ``skip.1``, ``skip.2``, ... switch the layer that many places back off or on,
    among the convolutions and poolings so far (a dropout belongs to the layer before it). The
    reference child is that of `ImageSpace`: each layer takes the one before it.
    """

    name: ClassVar[str] = "image-skip"

    @property
    def max_tokens(self) -> int:
        """The most tokens an architecture can have: full layers, their switches, the stop."""
        switches = sum(range(2, self.max_layers))
        return super().max_tokens + switches

    def anchor(self, prefix: Sequence[int]) -> int | None:
        """Return behind how many tokens the layer ended that a switch is about, or None."""
        state = self._state(plain(prefix))
        return state.nodes[len(state.switched)].end if _switching(state) else None

    def tokens(self, layers: Sequence[Layer]) -> tuple[int, ...]:
        """Return the tokens that write these layers; see `ChainSpace.tokens`."""
        kept = list(layers)
        # The stop joins and flattens by itself, unless something was written that keeps it from it.
        ends = [_without(kept, Flatten, Join), _without(kept, Join), kept]
        shapes = layer_costs(kept, self.input_shape)
        ends += [[*kept, GlobalPool()]] if shapes and len(shapes[-1][0]) > 1 else []
        written = [self._written(each) for each in ends]
        same = [each for each in written if self._state(plain(each)).layers == tuple(layers)]
        if not same:
            raise SpaceError(
                f"these layers cannot be written in a space called {self.name}: {layers}"
            )
        return next((each for each in same if self._legal(plain(each))), same[0])

    def _written(self, layers: Sequence[Layer]) -> tuple[int, ...]:
        written: list[int] = []
        nodes: list[int] = []
        joined: tuple[int, ...] = ()
        for number, layer in enumerate(layers, 1):
            if isinstance(layer, Join):
                joined = layer.of
                continue
            written.append(self._index("layer", layer.kind))
            if layer.kind in CONVOLUTIONS and len(nodes) > 1:
                taken = joined or (nodes[-1],)
                for place, node in enumerate(nodes):
                    choice = _ON if node in taken else _OFF
                    written.append(self._index(_name(len(nodes) - place), choice))
            written += [
                self._index(f"{layer.kind}.{field}", getattr(layer, field))
                for field in DECIDED[layer.kind]
            ]
            joined = ()
            if layer.kind in (*CONVOLUTIONS, *POOLINGS):
                nodes.append(number)
            elif nodes and isinstance(layer, Dropout):
                nodes[-1] = number
        return (*written, self._index("layer", STOP))

    def _more_decisions(self) -> tuple[Decision, ...]:
        return tuple(
            Decision(_name(back), (_OFF, _ON), looks_back=True)
            for back in range(1, self.max_layers)
        )

    def _behind(self, before: State, choice: Any, end: int) -> State:
        if _switching(before):
            state = before._replace(switched=(*before.switched, choice == _ON))
            if len(state.switched) < len(state.nodes):
                return state
            return self._taking(state, [k for k, on in enumerate(state.switched) if on])
        if before.kind is None and choice in IMAGE_ENDS:
            before = self._closed(before)
        if before.kind is None and choice in (*CONVOLUTIONS, *POOLINGS) and before.nodes:
            started = before._replace(kind=choice, chosen=(), switched=())
            if _switching(started):
                return started
            return self._taking(started, [len(before.nodes) - 1])
        state = super()._behind(before, choice, end)
        return _with_node(state, end) if state.depth > before.depth else state

    def _taking(self, state: State, places: Sequence[int]) -> State:
        """Return the state in which the layer being written takes these nodes."""
        nodes = tuple(
            node._replace(taken=True) if place in places else node
            for place, node in enumerate(state.nodes)
        )
        taken = [nodes[place] for place in places]
        beside = tuple(sorted(node.shape for node in nodes if not node.taken))
        if taken == [nodes[-1]]:
            ground = state.ground._replace(beside=beside)
            return state._replace(nodes=nodes, ground=ground, switched=(True,) * len(nodes))
        shape, cost = join_cost([node.shape for node in taken])
        return state._replace(
            nodes=nodes,
            ground=state.ground._replace(shape=shape, beside=beside),
            cost=state.cost + cost,
            layers=(*state.layers, Join(tuple(node.number for node in taken))),
            switched=(True,) * len(nodes),
        )

    def _closed(self, state: State) -> State:
        """Return the state in which all that nothing took comes together."""
        places = [place for place, node in enumerate(state.nodes) if not node.taken]
        if len(state.ground.shape) == 1 or len(places) < 2:
            return state
        return self._taking(state, places)

    def _end(self, state: State) -> tuple[Layer, ...]:
        closed = self._closed(state)
        return (*closed.layers[len(state.layers) :], *super()._end(closed))

    def _compute_decision(self, prefix: Sequence[int]) -> Decision | None:
        state = self._state(prefix)
        if _switching(state):
            return self._by_name[_name(len(state.nodes) - len(state.switched))]
        return super()._compute_decision(prefix)

    def _compute_mask(self, prefix: Sequence[int]) -> Mask:
        state = self._state(prefix)
        if not _switching(state):
            return super()._compute_mask(prefix)
        mask = np.zeros(self._width, dtype=np.int8)
        on = [place for place, switch in enumerate(state.switched) if switch]
        place = len(state.switched)
        mask[0] = self._finishable(state, on, place + 1)
        mask[1] = self._near(state.nodes[place], state) and self._finishable(
            state, [*on, place], place + 1
        )
        return mask

    def _finishable(self, state: State, on: Sequence[int], at: int) -> bool:
        """Tell whether the switches from a place on can be set so that the layer fits.

        Args:
            state: That of the layer which is being written.
            on: Places of the nodes it takes so far.
            at: The first place that is still open.
        """
        last = len(state.nodes) - 1
        if last not in on and not self._halved_twice(state.nodes[last].shape):
            if at > last:
                return False
            on = [*on, last]
        if on:
            return self._fits(state, on)
        return any(
            self._near(state.nodes[place], state) and self._fits(state, [place])
            for place in range(at, len(state.nodes))
        )

    def _fits(self, state: State, on: Sequence[int]) -> bool:
        taking = self._taking(state, on)
        return self._fitting.completable(str(state.kind), taking.ground, taking.cost)

    def _near(self, node: Node, state: State) -> bool:
        """Tell whether the image of a node is small enough beside that of the last."""
        last = state.nodes[-1].shape
        return all(
            side <= _LARGER * now for side, now in zip(node.shape[:2], last[:2], strict=True)
        )

    def _may_begin(self, kind: str, state: State) -> bool:
        if kind in IMAGE_ENDS:
            return super()._may_begin(kind, self._closed(state))
        if kind not in CONVOLUTIONS or len(state.nodes) < 2:
            return super()._may_begin(kind, state)
        if state.depth == self.max_layers:
            return False
        worth = self._may_follow(kind, state.layers, state.ground.shape)
        return worth and self._finishable(state._replace(kind=kind, switched=()), [], 0)

    def _may_end_behind(self, state: State) -> bool:
        return super()._may_end_behind(self._closed(state))

    def _canonical(self, layers: Sequence[Layer]) -> Sequence[Layer]:
        """Return one form: joins by the number of the node, what is behind the last as a chain."""
        joins = [place for place, layer in enumerate(layers) if isinstance(layer, Join)]
        if not joins:
            return super()._canonical(layers)
        shapes = [shape for shape, _ in layer_costs(layers, self.input_shape)]
        behind = joins[-1] + 1
        kept: list[Layer] = []
        nodes: dict[int, int] = {}  # by number of the layer
        for place, layer in enumerate(layers[:behind]):
            before = shapes[place - 1] if place else self.input_shape
            if isinstance(layer, Join):
                kept.append(Join(tuple(nodes[number] for number in layer.of)))
                continue
            nodes[place + 1] = len(set(nodes.values())) + (layer.kind != "dropout")
            if not is_idle(layer):
                kept.append(smallest_pooling(layer, before))
        return (*kept, *canonical_layers(layers[behind:], shapes[behind - 1]))


def _switching(state: State) -> bool:
    """Tell whether a switch is decided next."""
    convolves = state.kind in CONVOLUTIONS and not state.chosen
    return convolves and len(state.nodes) > 1 and len(state.switched) < len(state.nodes)


def _with_node(state: State, end: int) -> State:
    """Return the state behind a finished layer, with a node for it."""
    layer, number = state.layers[-1], len(state.layers)
    shape, nodes = state.ground.shape, state.nodes
    if len(shape) == 1:
        return state._replace(nodes=(), switched=())
    if isinstance(layer, Dropout):
        nodes = (*nodes[:-1], nodes[-1]._replace(number=number, end=end))
    else:
        nodes = (*nodes, Node(number, shape, end))
    beside = tuple(sorted(node.shape for node in nodes[:-1] if not node.taken))
    ground: Ground = state.ground._replace(beside=beside)
    return state._replace(nodes=nodes, switched=(), ground=ground)


def _without(layers: Sequence[Layer], *kinds: type[Layer]) -> list[Layer]:
    """Return layers without those at their end that are of these kinds, in this order."""
    kept = list(layers)
    for kind in kinds:
        if kept and isinstance(kept[-1], kind):
            kept.pop()
    return kept


def _name(back: int) -> str:
    return f"skip.{back}"
