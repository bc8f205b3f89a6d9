package example;

public class Neither {}
