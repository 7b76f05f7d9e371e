<?php
/* A page of a site. With ?write=1 it changes the session, otherwise it only reads it. */
session_start();
if (!isset($_SESSION['user'])) {
    $_SESSION = ['user' => 'ada', 'cart' => array_fill(0, 10, ['sku' => 'A-1000', 'count' => 1]), 'visits' => 0];
} elseif (isset($_GET['write'])) {
    $_SESSION['visits']++;
}
echo 'user ', $_SESSION['user'];
