<?php
/*
 * Requests that overlap reliably: each creates a file in a folder when it has read its session, and continues when the
 * folder contains the file "go".
 */

function gate(): void
{
    if (!isset($_GET['gate'])) return;
    touch("$_GET[gate]/arrived-" . getmypid() . '-' . uniqid());
    for ($i = 0; !file_exists("$_GET[gate]/go"); $i++) {
        if ($i > 30000) exit('waited in vain');
        usleep(2000);
        clearstatcache();
    }
}

/** Adds one to a number in the session, and works for `hold` microseconds between its read and its write. */
function increment(): void
{
    $count = $_SESSION['count'] ?? 0;
    usleep((int) ($_GET['hold'] ?? 0));
    $_SESSION['count'] = $count + 1;
}
