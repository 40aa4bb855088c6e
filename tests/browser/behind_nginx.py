"""What nginx does to streams: in its own way, and told to hold them back."""

from .nginx import PLAIN, STUBBORN, UPGRADING, nginx
from .on_the_network import falls_back
from .scene import Scene, disturbance


@disturbance("behind nginx with buffering on, and the socket dies")
async def behind_nginx(scene: Scene) -> str:
    lines = UPGRADING if scene.way == "websocket" else PLAIN
    async with nginx(scene.needs("nginx"), scene.folder, scene.server.port, lines) as port:
        scene.proxy.target = ("127.0.0.1", port)
        tab = await scene.begin()
        scene.proxy.cut_all()
        scene.over()
        await scene.gets(tab, 20)
        return await scene.result(tab)


@disturbance("behind nginx that holds back what it is asked not to", ways=("auto",), idles=True)
async def behind_stubborn_nginx(scene: Scene) -> str:
    async with nginx(scene.needs("nginx"), scene.folder, scene.server.port, STUBBORN) as port:
        scene.proxy.target = ("127.0.0.1", port)
        return await falls_back(scene, "poll", pause_ms=200)  # so little that it does not fill nginx's buffer
