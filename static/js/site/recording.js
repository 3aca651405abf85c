// @ts-check
/**
 * A recording's page: links to the object store live for minutes, a class is watched for longer. When the player's link
 * has gone stale, it gets a fresh one and goes on where it was.
 */

const AGAIN_AFTER = 10_000; // ms: a file that cannot be played at all is not asked for in a loop
let last = -AGAIN_AFTER;

document.addEventListener("error", (event) => {
  const player = event.target;
  if (!(player instanceof HTMLVideoElement) || performance.now() - last < AGAIN_AFTER) return;
  last = performance.now();
  const { currentTime, paused } = player;
  player.addEventListener("loadedmetadata", () => {
    player.currentTime = currentTime;
    if (!paused) void player.play();
  }, { once: true });
  player.load();
}, true);
