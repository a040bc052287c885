"""The map as a USD stage: metres, z up, one mesh per object with its class as a semantic label, rooms, the cameras' path.

`/Map/Structure` is what belongs to no object, `/Map/Objects/O0_chair` an object, `/Map/Rooms/R0_kitchen` the outline of a room.
Labels are those of `UsdSemantics.LabelsAPI`, taxonomy `class`; what USD has no field for is in `customData`, under `m2h`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mapping.files import atomic_path
from mapping.mesh.glb import linear_from_srgb
from mapping.mesh.mesh import Mesh
from mapping.text import for_name
from pipelines.exports.export_input import ExportError, FinishedRun
from pipelines.views.scene_nodes import scene_nodes
from scenegraph.nodes import ObjectNode, RoomNode

OUTLINE_WIDTH, PATH_WIDTH = 0.03, 0.02


def write_usd(run: FinishedRun, path: Path) -> None:
    """Write the stage as one .usdc file; raises ExportError with the command that installs what is missing."""
    pxr = _import_pxr()
    stage = pxr.Usd.Stage.CreateInMemory()
    pxr.UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    pxr.UsdGeom.SetStageUpAxis(stage, pxr.UsdGeom.Tokens.z)
    root = pxr.UsdGeom.Xform.Define(stage, "/Map")
    stage.SetDefaultPrim(root.GetPrim())
    pxr.Usd.ModelAPI(root).SetKind(pxr.Kind.Tokens.assembly)
    _note(pxr, root.GetPrim(), {"T_input_world": run.graph.T_input_world.ravel().tolist()})
    _add_material(pxr, stage)
    objects = pxr.UsdGeom.Scope.Define(stage, "/Map/Objects")
    pxr.Usd.ModelAPI(objects).SetKind(pxr.Kind.Tokens.group)
    for piece in scene_nodes(run.mesh, run.graph):
        assert piece.mesh is not None
        key = str(piece.extras["id"])
        is_object = key in run.graph
        node = run.graph[key] if is_object else None
        name = f"/Map/Objects/{_name(f'{key}_{node.label}')}" if isinstance(node, ObjectNode) else "/Map/Structure"
        if not len(piece.mesh.faces):
            continue
        prim = _add_mesh(pxr, stage, name, piece.mesh)
        if isinstance(node, ObjectNode):
            pxr.Usd.ModelAPI(prim).SetKind(pxr.Kind.Tokens.component)
            _label(pxr, prim, node.label)
            room = run.graph.ancestor(key, "room") or ""
            facts = {"id": key, "label": node.label, "label_id": node.label_id, "room": room}
            _note(pxr, prim, facts | {"confidence": float(node.confidence), "size": node.box.size.tolist()})
    _add_rooms(pxr, stage, run)
    _add_path(pxr, stage, run)
    with atomic_path(path) as temporary:
        if not stage.GetRootLayer().Export(str(temporary)):
            raise ExportError(f"{path}: USD cannot write it")


def _import_pxr() -> Any:
    try:
        import pxr
        from pxr import Kind, Sdf, Usd, UsdGeom, UsdSemantics, UsdShade, Vt  # noqa: F401 - they become attributes of pxr
    except ImportError as error:
        raise ExportError(f"--to usd: needs an extra ({error}): pip install 'm2h-mapping[usd]'") from error
    return pxr


def _name(text: str) -> str:
    """A name of a prim: letters, digits and underscores of ASCII."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in for_name(text))
    return plain if plain[:1].isalpha() or plain[:1] == "_" else f"_{plain}"


def _add_mesh(pxr: Any, stage: Any, name: str, mesh: Mesh) -> Any:
    shape = pxr.UsdGeom.Mesh.Define(stage, name)
    vt = pxr.Vt
    vertices = np.ascontiguousarray(mesh.vertices, np.float32)
    shape.CreatePointsAttr(vt.Vec3fArray.FromNumpy(vertices))
    shape.CreateFaceVertexIndicesAttr(vt.IntArray.FromNumpy(np.ascontiguousarray(mesh.faces.ravel())))
    shape.CreateFaceVertexCountsAttr(vt.IntArray.FromNumpy(np.full(len(mesh.faces), 3, np.int32)))
    shape.CreateExtentAttr(vt.Vec3fArray.FromNumpy(np.stack([vertices.min(axis=0), vertices.max(axis=0)])))
    shape.CreateSubdivisionSchemeAttr(pxr.UsdGeom.Tokens.none)
    shape.CreateDoubleSidedAttr(defaultValue=True)
    if mesh.colors is not None:
        linear = (linear_from_srgb(mesh.colors) / 65535).astype(np.float32)
        shape.CreateDisplayColorPrimvar(pxr.UsdGeom.Tokens.vertex).Set(vt.Vec3fArray.FromNumpy(linear))
    if mesh.labels is not None:
        primvars = pxr.UsdGeom.PrimvarsAPI(shape)
        labels = primvars.CreatePrimvar("label", pxr.Sdf.ValueTypeNames.IntArray, pxr.UsdGeom.Tokens.vertex)
        labels.Set(vt.IntArray.FromNumpy(mesh.labels.astype(np.int32)))
    prim = shape.GetPrim()
    pxr.UsdShade.MaterialBindingAPI.Apply(prim).Bind(pxr.UsdShade.Material(stage.GetPrimAtPath("/Map/Looks/Seen")))
    return prim


def _add_material(pxr: Any, stage: Any) -> None:
    """A matte material in the colour of the vertices."""
    pxr.UsdGeom.Scope.Define(stage, "/Map/Looks")
    material = pxr.UsdShade.Material.Define(stage, "/Map/Looks/Seen")
    types = pxr.Sdf.ValueTypeNames
    reader = pxr.UsdShade.Shader.Define(stage, "/Map/Looks/Seen/Color")
    reader.CreateIdAttr("UsdPrimvarReader_float3")
    reader.CreateInput("varname", types.String).Set("displayColor")
    reader.CreateInput("fallback", types.Float3).Set((0.6, 0.6, 0.6))
    surface = pxr.UsdShade.Shader.Define(stage, "/Map/Looks/Seen/Surface")
    surface.CreateIdAttr("UsdPreviewSurface")
    color = reader.CreateOutput("result", types.Float3)
    surface.CreateInput("diffuseColor", types.Color3f).ConnectToSource(color)
    surface.CreateInput("roughness", types.Float).Set(1.0)
    material.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", types.Token))


def _add_rooms(pxr: Any, stage: Any, run: FinishedRun) -> None:
    pxr.UsdGeom.Scope.Define(stage, "/Map/Rooms")
    for key, room in run.graph.nodes("room"):
        assert isinstance(room, RoomNode)
        ring = np.column_stack([room.polygon, np.full(len(room.polygon), room.z_range[0])])
        prim = _add_line(pxr, stage, f"/Map/Rooms/{_name(f'{key}_{room.label}')}", ring, is_closed=True)
        _label(pxr, prim, room.label)
        area = {} if room.measured_area is None else {"area": float(room.measured_area)}
        heights = [float(z) for z in room.z_range]
        _note(pxr, prim, {"id": key, "label": room.label, "z_range": heights, **area})


def _add_path(pxr: Any, stage: Any, run: FinishedRun) -> None:
    points = np.array([agent.position for _, agent in run.graph.nodes("agent")]).reshape(-1, 3)
    if len(points) > 1:
        _add_line(pxr, stage, "/Map/CameraPath", points, is_closed=False)


def _add_line(pxr: Any, stage: Any, name: str, points: np.ndarray[Any, Any], *, is_closed: bool) -> Any:
    tokens, vt = pxr.UsdGeom.Tokens, pxr.Vt
    line = pxr.UsdGeom.BasisCurves.Define(stage, name)
    line.CreateTypeAttr(tokens.linear)
    line.CreateWrapAttr(tokens.periodic if is_closed else tokens.nonperiodic)
    line.CreatePointsAttr(vt.Vec3fArray.FromNumpy(np.ascontiguousarray(points, np.float32)))
    line.CreateCurveVertexCountsAttr([len(points)])
    width = OUTLINE_WIDTH if is_closed else PATH_WIDTH
    line.CreateWidthsAttr([width])
    line.SetWidthsInterpolation(tokens.constant)
    low, high = points.min(axis=0) - width / 2, points.max(axis=0) + width / 2
    line.CreateExtentAttr(vt.Vec3fArray.FromNumpy(np.stack([low, high]).astype(np.float32)))
    line.CreatePurposeAttr(tokens.guide)
    return line.GetPrim()


def _label(pxr: Any, prim: Any, label: str) -> None:
    pxr.UsdSemantics.LabelsAPI.Apply(prim, "class").CreateLabelsAttr([label])


def _note(pxr: Any, prim: Any, facts: dict[str, Any]) -> None:
    """Facts of a prim as its customData, in a dictionary `m2h`; lists are of numbers."""
    for name, value in facts.items():
        prim.SetCustomDataByKey(f"m2h:{name}", pxr.Vt.DoubleArray(value) if isinstance(value, list) else value)
